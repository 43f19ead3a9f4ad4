/** gRPC: HTTP/2 between Ed25519 identities over mutual TLS 1.3, with the standard health and reflection services. */
export type { GrpcAdapter, GrpcAdapterOptions } from "./grpc-adapter.ts";
export { createGrpcAdapter } from "./grpc-adapter.ts";
