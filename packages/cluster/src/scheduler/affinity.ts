/** Which nodes a VM may be on because of labels: those of the nodes, and those of the VMs that are there. */
import {
  domainOf,
  hasLabels,
  type Labels,
  type NodeRecord,
  nodeTopology,
  selects,
  type VmAffinity,
} from "@blixard/protocol";
import type { PlacedVm, PlacementRequest } from "./scheduler-types.ts";

export class Affinity {
  readonly #request: PlacementRequest;
  /** The places in which a VM is that has to be apart from this one. */
  readonly #closed: readonly { readonly domain: string; readonly topology: string }[];

  constructor(request: PlacementRequest) {
    this.#request = request;
    this.#closed = request.vms.flatMap((vm) =>
      (vm.placement?.affinity ?? []).flatMap(({ type, vms, topology = nodeTopology, soft }) => {
        if (type !== "apart" || soft === true || !hasLabels(request.labels, vms)) return [];
        const domain = domainOf(vm.node, topology);
        return domain === undefined ? [] : [{ domain, topology }];
      }),
    );
  }

  /** Why the VM must not be on the node; undefined when it may. */
  refusal(record: NodeRecord): string | undefined {
    const { constraints = [], affinity = [] } = this.#request.spec.placement ?? {};
    const unmet = constraints.find((selector) => !selects(selector, record.labels));
    if (unmet !== undefined) return `its labels are not ${unmet}`;
    const broken = affinity.find((rule) => rule.soft !== true && !this.#holds(rule, record));
    if (broken !== undefined) return brokenText(broken);
    const isClosed = this.#closed.some(({ domain, topology }) => domainOf(record, topology) === domain);
    return isClosed ? "a VM there is to be apart from it" : undefined;
  }

  /** How many of the wishes of the VM the node fulfils. */
  wishes(record: NodeRecord): number {
    const { affinity = [] } = this.#request.spec.placement ?? {};
    return affinity.filter((rule) => rule.soft === true && this.#holds(rule, record)).length;
  }

  /** Of the VMs that this one is spread with, those in the place of the node; undefined where that is in none. */
  crowd(record: NodeRecord, topology: string): number | undefined {
    const domain = domainOf(record, topology);
    if (domain === undefined) return undefined;
    const { labels = {} } = this.#request;
    return this.#vmsIn(domain, topology).filter((vm) => hasLabels(vm.labels, labels)).length;
  }

  #holds({ type, vms, topology = nodeTopology }: VmAffinity, record: NodeRecord): boolean {
    const domain = domainOf(record, topology);
    const isNamed = (vm: { readonly labels?: Labels }) => hasLabels(vm.labels, vms);
    const isThere = domain !== undefined && this.#vmsIn(domain, topology).some(isNamed);
    if (type === "apart") return !isThere;
    if (isThere || domain === undefined) return isThere;
    // The first of those that want to be near each other begins somewhere.
    return hasLabels(this.#request.labels, vms) && !this.#request.vms.some(isNamed);
  }

  #vmsIn(domain: string, topology: string): readonly PlacedVm[] {
    return this.#request.vms.filter(({ node }) => domainOf(node, topology) === domain);
  }
}

function brokenText({ type, vms, topology = nodeTopology }: VmAffinity): string {
  const named = Object.entries(vms)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const where = topology === nodeTopology ? "there" : `with the same ${topology}`;
  return type === "near" ? `no VM ${named} is ${where}` : `a VM ${named} is ${where}`;
}
