/** Doubles for the ports of a cluster node, for tests and simulations of other packages. */
export { madeUpSealing } from "./made-up-sealing.ts";
export { madeUpSignatures } from "./made-up-signatures.ts";
export { raftWall } from "./raft-wall.ts";
