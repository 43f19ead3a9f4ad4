/** As much of `package-lock.json` as says which libraries lie in `node_modules`. */
export interface LockFile {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly link?: boolean }>>;
}

/** True when every library of the first lies at the same place in the second, in the same version. Packages of ours do not count. */
export function locksAgree(theirs: LockFile, ours: LockFile): boolean {
  return Object.entries(theirs.packages).every(
    ([place, { version }]) => !place.includes("node_modules/") || ours.packages[place]?.version === version,
  );
}
