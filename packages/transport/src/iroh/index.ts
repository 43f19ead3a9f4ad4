/** Iroh: QUIC between Ed25519 identities, over direct paths or relays. */
export type { IrohAdapter, IrohAdapterOptions } from "./iroh-adapter.ts";
export { createIrohAdapter } from "./iroh-adapter.ts";
