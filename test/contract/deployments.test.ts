// Do unit and Helm chart say what the executable takes, and what the manifests say? The manifests have a file of their own, manifests.test.ts;
// Helm itself renders the chart in test/packaging/helm.test.ts.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { settings } from "../../scripts/build/environment.ts";
import { type DaemonSet, objectsOf, only } from "../support/kubernetes.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";

const read = (name: string) => readFileSync(`${import.meta.dir}/../../deployments/${name}`, "utf8");

test("the systemd unit starts the executable with arguments that it takes, and reloads it by SIGHUP", () => {
  const unit = read("sriovdp.service");
  const [, ...args] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  expect(args).not.toEqual([]);
  expect(parseCommandLine(args).problems).toEqual([]);
  expect(unit).toContain("ExecReload=/bin/kill -HUP $MAINPID");
});

test("the unit sets the environment that the image sets", () => {
  expect(read("sriovdp.service").match(/^Environment=.*/gm)).toEqual([`Environment=${settings.join(" ")}`]);
});

/** The chart's DaemonSet with every branch taken, as far as that is possible without Helm. */
function chartDaemonSet(): DaemonSet {
  const text = read("helm/sriovdp/templates/daemonset.yaml")
    .replaceAll(/^ *{{-? (?:if|with|range|end|else|\$\w+ :?=|include|toYaml)[^]*?}}\n/gm, "")
    .replaceAll("{{ $kubelet }}", "/var/lib/kubelet")
    .replaceAll(/{{.*?}}/g, "value");
  return only<DaemonSet>(objectsOf(text), "DaemonSet");
}

test("the chart's pods have the base's mounts, volumes, probes and privileges: a change of one belongs into the other, too", () => {
  const shared = ({ spec }: DaemonSet) => {
    const { volumes, containers } = spec.template.spec;
    const [container] = containers;
    // Of the option cdi alone.
    const base = <T extends { readonly name: string }>(list: readonly T[] = []) =>
      list.filter(({ name }) => name !== "cdi");
    return {
      volumes: base(volumes).map(({ name, hostPath, emptyDir }) => ({ name, hostPath, emptyDir })),
      mounts: base(container?.volumeMounts),
      probes: [container?.startupProbe, container?.livenessProbe, container?.readinessProbe],
      privileges: { ...container?.securityContext, capabilities: container?.securityContext.capabilities.drop },
    };
  };
  const base = only<DaemonSet>(objectsOf(read("base/daemonset.yaml")), "DaemonSet");
  expect(shared(chartDaemonSet())).toEqual(shared(base));
  expect(shared(base).mounts.length).toBeGreaterThan(5);
});
