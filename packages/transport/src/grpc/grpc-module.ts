/** The part of the adapter that stands on the gRPC packages, loaded when it is first needed. */
import { importWithPeers } from "../optional-peers.ts";

type GrpcModule = typeof import("./grpc-runtime.ts");

let loading: Promise<GrpcModule> | undefined;

/** @throws UNSUPPORTED when a package of gRPC is not installed */
export function loadGrpc(): Promise<GrpcModule> {
  loading ??= importWithPeers("gRPC", () => import("./grpc-runtime.ts"));
  return loading;
}
