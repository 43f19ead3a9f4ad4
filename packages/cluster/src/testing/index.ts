/** Doubles for the ports of a cluster node, for tests and simulations of other packages. */
export { madeUpSignatures } from "./made-up-signatures.ts";
export { raftWall } from "./raft-wall.ts";
