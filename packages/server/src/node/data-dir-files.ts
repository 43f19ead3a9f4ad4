/** The files of a data directory, for tools that work on one which no node has open. Loads nothing of a running node. */
export { backupName } from "./backup-name.ts";
export { isKeyOf, type NodeFile, openDataDir, readNodeFile, refuseForeignDataDir, writeNodeFile } from "./data-dir.ts";
export { readMembers } from "./members-file.ts";
export { readRecovery } from "./recovery-file.ts";
export { assertOthersCanAdmit, type StoreMove, setStoreAside } from "./set-store-aside.ts";
export { adminTokenFile, newToken } from "./token-files.ts";
