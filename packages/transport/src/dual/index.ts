/** Two technologies behind one adapter: each peer is reached over the preferred one as long as that works. */
export type { DualAdapterOptions } from "./dual-adapter.ts";
export { createDualAdapter } from "./dual-adapter.ts";
