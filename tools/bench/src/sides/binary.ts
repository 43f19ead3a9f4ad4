import { fileURLToPath } from "node:url";

/** The program as people run it. */
export const binary = fileURLToPath(new URL("../../../../apps/node/dist/bundle/main.js", import.meta.url));
/** The same in its files, which tell packages apart in a profile, and which a commit of before has too. */
export const unbundledBinary = fileURLToPath(new URL("../../../../apps/node/dist/main.js", import.meta.url));
