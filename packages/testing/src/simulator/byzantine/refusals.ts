/** The metrics of the nodes, of which only the counters of refusals are kept: by node and by what was refused. */
import { discardMetrics, type Labels, type Metrics } from "@blixard/common";

const kinds = {
  blixard_raft_messages_refused_total: () => "message",
  blixard_forwards_refused_total: () => "forward",
  blixard_address_claims_refused_total: ({ reason }: Labels) => `addresses ${reason}`,
  blixard_member_claims_total: ({ claim, by }: Labels) => `${claim} by ${by}`,
} as const satisfies Readonly<Record<string, (labels: Labels) => string>>;

type KindsByName = Readonly<Record<string, ((labels: Labels) => string) | undefined>>;

export class Refusals {
  readonly #counts = new Map<string, number>();

  of(nodeId: number): Metrics {
    return {
      ...discardMetrics,
      counter: ({ name }) => {
        const kindOf = (kinds as KindsByName)[name];
        if (kindOf === undefined) return { add: () => {} };
        return {
          add: (value = 1, labels = {}) => {
            for (const key of [`${nodeId} ${kindOf(labels)}`, kindOf(labels)]) {
              this.#counts.set(key, (this.#counts.get(key) ?? 0) + value);
            }
          },
        };
      },
    };
  }

  /** Of one node. */
  count(nodeId: number, kind: "message" | "forward"): number {
    return this.#counts.get(`${nodeId} ${kind}`) ?? 0;
  }

  /** Of all nodes: `addresses forged`, `newer_start by other`, `removed by other`. */
  total(kind: string): number {
    return this.#counts.get(kind) ?? 0;
  }
}
