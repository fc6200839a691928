{{/* The name of the DaemonSet: the upstream plugin's, whose place it takes. */}}
{{- define "sriovdp.fullname" -}}
{{- default "kube-sriov-device-plugin" .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* What the other objects are named after, and what the pods' label "name" says: the upstream plugin's as well. */}}
{{- define "sriovdp.name" -}}
{{- default "sriov-device-plugin" .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* The service account; ends the rendering where rights would go to the account "default", which other pods of the namespace have. */}}
{{- define "sriovdp.serviceAccountName" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) (or (eq .Values.allocator "dra") .Values.dra.keepRights .Values.openshift.enabled) -}}
{{- fail "serviceAccount.create: false requires serviceAccount.name with allocator: dra or openshift.enabled: the rights would go to every pod with the account default" -}}
{{- end -}}
{{- default (ternary (include "sriovdp.name" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{- define "sriovdp.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* Labels as YAML: those of the first map win, so that no value of a user's replaces what selectors rely on. */}}
{{- define "sriovdp.mergedLabels" -}}
{{- $labels := dict -}}
{{- range . }}{{ $labels = merge $labels . }}{{ end -}}
{{- toYaml $labels -}}
{{- end }}

{{/* The labels that Kubernetes and Helm recommend, as a map in JSON. */}}
{{- define "sriovdp.recommendedLabels" -}}
{{- dict "app.kubernetes.io/name" .Chart.Name "app.kubernetes.io/component" "device-plugin"
  "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" .Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") | toJson -}}
{{- end }}

{{/* Labels of an object. Takes a list: the root context, and maps of further labels; an earlier map wins. */}}
{{- define "sriovdp.labels" -}}
{{- $root := first . -}}
{{- $recommended := include "sriovdp.recommendedLabels" $root | fromJson -}}
{{- include "sriovdp.mergedLabels" (concat (list $recommended) (rest .) (list $root.Values.commonLabels)) -}}
{{- end }}

{{/* Labels of the pods. Neither version nor chart is among them, since a new label would restart every pod. */}}
{{- define "sriovdp.podLabels" -}}
{{- $fixed := dict "name" (include "sriovdp.name" .) "tier" "node" "app" "sriovdp" "app.kubernetes.io/name" .Chart.Name
  "app.kubernetes.io/component" "device-plugin" "app.kubernetes.io/instance" .Release.Name -}}
{{- include "sriovdp.mergedLabels" (list $fixed .Values.podLabels .Values.commonLabels) -}}
{{- end }}

{{/*
The affinity: the user's, and in each of its required terms the rule that keeps the pods off arm64 kernels with 64 KiB pages, where the
executable can't start (docs/deploy/cluster.md). Terms are alternatives, so every one needs it.
*/}}
{{- define "sriovdp.affinity" -}}
{{- $rule := dict "key" "feature.node.kubernetes.io/arm64-64k-pages" "operator" "NotIn" "values" (list "true") -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- $node := get $affinity "nodeAffinity" | default dict -}}
{{- $required := get $node "requiredDuringSchedulingIgnoredDuringExecution" | default dict -}}
{{- $terms := list -}}
{{- range get $required "nodeSelectorTerms" | default (list (dict)) -}}
{{- $expressions := append (get . "matchExpressions" | default list) $rule -}}
{{- $terms = append $terms (merge (dict "matchExpressions" $expressions) .) -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- toYaml $affinity -}}
{{- end }}

{{/* "true" in the DRA role, and empty as a device plugin; ends the rendering for a cluster without resource.k8s.io/v1. */}}
{{- define "sriovdp.isDra" -}}
{{- if eq .Values.allocator "dra" -}}
{{- if semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version -}}
{{- fail (printf "allocator: dra requires Kubernetes 1.34 or later, and this is %s (helm template: set --kube-version)" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
true
{{- end -}}
{{- end }}

{{/* Where the pools come from, as "inline", "nodes" or "existing"; ends the rendering with what to do when it is not exactly one. */}}
{{- define "sriovdp.configSource" -}}
{{- $given := list -}}
{{- if .Values.config }}{{ $given = append $given "config" }}{{ end -}}
{{- if .Values.nodeConfig.configs }}{{ $given = append $given "nodeConfig.configs" }}{{ end -}}
{{- if .Values.existingConfigMap }}{{ $given = append $given "existingConfigMap" }}{{ end -}}
{{- if eq (len $given) 0 -}}
{{- fail "no pools: set config, nodeConfig.configs, or existingConfigMap (the upstream plugin's is sriovdp-config)" -}}
{{- else if gt (len $given) 1 -}}
{{- fail (printf "the pools are given more than once: set only one of %s" (join ", " $given)) -}}
{{- end -}}
{{- if and .Values.config .Values.nodeConfig.enabled -}}
{{- fail "nodeConfig.enabled reads a key for each node: set nodeConfig.configs or existingConfigMap in place of config" -}}
{{- end -}}
{{- if and .Values.nodeConfig.configs (not .Values.nodeConfig.enabled) -}}
{{- fail "nodeConfig.configs has no effect without nodeConfig.enabled: true" -}}
{{- end -}}
{{- end }}

{{- define "sriovdp.configMapName" -}}
{{- default (printf "%s-config" (include "sriovdp.fullname" .)) .Values.existingConfigMap -}}
{{- end }}
