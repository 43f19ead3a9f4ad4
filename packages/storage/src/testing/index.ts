/** The conformance suite of the port StateStore, for adapters of your own. */
export { describeStateStore } from "./describe-state-store.ts";
