/** Everything that needs the gRPC packages, in one module, so that one import loads it. */
export { dialGrpc } from "./grpc-dial.ts";
export { GrpcServer } from "./grpc-server.ts";
