// manifests PATH...: reads manifests as the genuine tools do. Each argument is a kustomization's folder, built by kustomize's own library, or a YAML file.
// Every object is decoded strictly (an unknown or repeated field is an error) and validated by the API server's own code; pods are
// judged by the Pod Security Standards, network configurations by libcni. Prints JSON: the objects and problems of each argument.
//
// manifests apply CURRENT NEW: what "kubectl apply" makes of an object that was made by "kubectl create" (CURRENT, a JSON file), given
// NEW: a three-way merge whose record of what was applied before is empty. Prints the object as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
	nad "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"
	security "github.com/openshift/api/security/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	admissionvalidation "k8s.io/kubernetes/pkg/apis/admissionregistration/validation"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/rbac"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	rbacvalidation "k8s.io/kubernetes/pkg/apis/rbac/validation"
	"k8s.io/kubernetes/pkg/apis/resource"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	resourcevalidation "k8s.io/kubernetes/pkg/apis/resource/validation"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/yaml"
)

type result struct {
	Path     string           `json:"path"`
	Objects  []map[string]any `json:"objects"`
	Problems []string         `json:"problems"`
	// What the "baseline" level of the Pod Security Standards forbids in the pods
	Beyond []string `json:"beyondBaseline"`
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "apply" {
		if err := apply(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	results := []result{}
	for _, path := range os.Args[1:] {
		results = append(results, read(path))
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}

// apply merges as k8s.io/kubectl/pkg/cmd/apply does: by the strategic merge of the built-in types.
func apply(currentPath, newPath string) error {
	current, err := os.ReadFile(currentPath)
	if err != nil {
		return err
	}
	modified, err := os.ReadFile(newPath)
	if err != nil {
		return err
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(appsv1.DaemonSet{})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(nil, modified, current, meta, true)
	if err != nil {
		return err
	}
	merged, err := strategicpatch.StrategicMergePatch(current, patch, appsv1.DaemonSet{})
	if err != nil {
		return err
	}
	fmt.Println(string(merged))
	return nil
}

func read(path string) result {
	r := result{Path: path, Objects: []map[string]any{}, Problems: []string{}, Beyond: []string{}}
	documents, err := documentsOf(path)
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	for _, document := range documents {
		var object map[string]any
		if err := yaml.Unmarshal(document, &object); err != nil {
			r.Problems = append(r.Problems, err.Error())
			continue
		}
		r.Objects = append(r.Objects, object)
		metadata, _ := object["metadata"].(map[string]any)
		problems, beyond := check(document)
		for _, problem := range problems {
			r.Problems = append(r.Problems, fmt.Sprintf("%v %v: %s", object["kind"], metadata["name"], problem))
		}
		r.Beyond = append(r.Beyond, beyond...)
	}
	return r
}

// documentsOf gives the YAML documents of a file, or of a folder's kustomize build.
func documentsOf(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
		if err != nil {
			return nil, err
		}
		documents := [][]byte{}
		for _, resource := range built.Resources() {
			document, err := resource.AsYAML()
			if err != nil {
				return nil, err
			}
			documents = append(documents, document)
		}
		return documents, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	nodes, err := kio.FromBytes(text)
	if err != nil {
		return nil, err
	}
	documents := [][]byte{}
	for _, node := range nodes {
		document, err := node.String()
		if err != nil {
			return nil, err
		}
		documents = append(documents, []byte(document))
	}
	return documents, nil
}

var codecs = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)

func check(document []byte) (problems []string, beyond []string) {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return []string{err.Error()}, nil
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "k8s.cni.cncf.io/v1 NetworkAttachmentDefinition":
		var definition nad.NetworkAttachmentDefinition
		if err := yaml.UnmarshalStrict(document, &definition); err != nil {
			return []string{err.Error()}, nil
		}
		return checkNetwork(definition.Spec.Config), nil
	case "monitoring.coreos.com/v1 PodMonitor":
		return strictly(document, &monitoring.PodMonitor{}), nil
	case "monitoring.coreos.com/v1 PrometheusRule":
		return strictly(document, &monitoring.PrometheusRule{}), nil
	case "security.openshift.io/v1 SecurityContextConstraints":
		return strictly(document, &security.SecurityContextConstraints{}), nil
	}
	// Defaults are filled in and the type is the internal one, as when the API server validates.
	object, _, err := codecs.UniversalDecoder().Decode(document, nil, nil)
	if err != nil {
		return []string{err.Error()}, nil
	}
	for _, e := range validate(object) {
		problems = append(problems, e.Error())
	}
	if template, labels := podOf(object); template != nil {
		beyond = beyondBaseline(template, labels)
	}
	return problems, beyond
}

func strictly(document []byte, into any) []string {
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func checkNetwork(config string) []string {
	if list, err := libcni.ConfListFromBytes([]byte(config)); err == nil && len(list.Plugins) > 0 {
		return nil
	}
	conf, err := libcni.ConfFromBytes([]byte(config))
	if err != nil {
		return []string{err.Error()}
	}
	if conf.Network.Type == "" || conf.Network.Name == "" {
		return []string{"the network has no name or no type"}
	}
	return nil
}

func validate(object runtime.Object) field.ErrorList {
	options := corevalidation.PodValidationOptions{}
	switch o := object.(type) {
	case *apps.DaemonSet:
		inNamespace(&o.ObjectMeta)
		return appsvalidation.ValidateDaemonSet(o, options)
	case *core.Pod:
		inNamespace(&o.ObjectMeta)
		return corevalidation.ValidatePodCreate(o, options)
	case *core.ConfigMap:
		inNamespace(&o.ObjectMeta)
		return corevalidation.ValidateConfigMap(o)
	case *core.ServiceAccount:
		inNamespace(&o.ObjectMeta)
		return corevalidation.ValidateServiceAccount(o)
	case *core.Service:
		inNamespace(&o.ObjectMeta)
		// Filled in by the API server's registry before it validates.
		if len(o.Spec.ClusterIPs) == 0 && o.Spec.ClusterIP != "" {
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
		}
		return corevalidation.ValidateServiceCreate(o)
	case *rbac.Role:
		inNamespace(&o.ObjectMeta)
		return rbacvalidation.ValidateRole(o)
	case *rbac.RoleBinding:
		inNamespace(&o.ObjectMeta)
		return rbacvalidation.ValidateRoleBinding(o)
	case *rbac.ClusterRole:
		return rbacvalidation.ValidateClusterRole(o, rbacvalidation.ClusterRoleValidationOptions{})
	case *rbac.ClusterRoleBinding:
		return rbacvalidation.ValidateClusterRoleBinding(o)
	case *admissionregistration.ValidatingAdmissionPolicy:
		inNoNamespace(&o.ObjectMeta)
		return admissionvalidation.ValidateValidatingAdmissionPolicy(o)
	case *admissionregistration.ValidatingAdmissionPolicyBinding:
		inNoNamespace(&o.ObjectMeta)
		return admissionvalidation.ValidateValidatingAdmissionPolicyBinding(o)
	case *resource.DeviceClass:
		return resourcevalidation.ValidateDeviceClass(o)
	case *resource.ResourceClaimTemplate:
		inNamespace(&o.ObjectMeta)
		return resourcevalidation.ValidateResourceClaimTemplate(o)
	}
	return field.ErrorList{field.Forbidden(field.NewPath("kind"), fmt.Sprintf("no validation is known for %T", object))}
}

// inNamespace does what kubectl does to an object without a namespace.
func inNamespace(meta *metav1.ObjectMeta) {
	if meta.Namespace == "" {
		meta.Namespace = "default"
	}
}

// inNoNamespace does what the API server does before it validates an object of the whole cluster (apiserver pkg/registry/rest/meta.go
// EnsureObjectNamespaceMatchesRequestNamespace): kustomize does not know of kinds newer than 1.21 that they have no namespace.
func inNoNamespace(meta *metav1.ObjectMeta) {
	meta.Namespace = ""
}

func podOf(object runtime.Object) (*core.PodSpec, *metav1.ObjectMeta) {
	switch o := object.(type) {
	case *apps.DaemonSet:
		return &o.Spec.Template.Spec, &o.Spec.Template.ObjectMeta
	case *core.Pod:
		return &o.Spec, &o.ObjectMeta
	}
	return nil, nil
}

func beyondBaseline(spec *core.PodSpec, meta *metav1.ObjectMeta) []string {
	var external corev1.PodSpec
	if err := corev1conversion.Convert_core_PodSpec_To_v1_PodSpec(spec, &external, nil); err != nil {
		return []string{err.Error()}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return []string{err.Error()}
	}
	level := podsecurity.LevelVersion{Level: podsecurity.LevelBaseline, Version: podsecurity.LatestVersion()}
	found := []string{}
	for _, check := range evaluator.EvaluatePod(level, meta, &external) {
		if !check.Allowed {
			found = append(found, check.ForbiddenReason)
		}
	}
	return found
}
