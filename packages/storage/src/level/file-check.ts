/** placeholder until next step */
export async function checkLevelFiles(
  _location: string,
  _options: { readonly logs: "synced" | "unsynced" },
): Promise<void> {}
