/** The file that a command writes what it exports into. */
import { type FileHandle, open } from "node:fs/promises";
import { BlixardError, messageOf, systemErrorCodeOf } from "@blixard/common";

/** Never one that is there already. @throws ALREADY_EXISTS, INVALID_ARGUMENT */
export async function createFile(file: string): Promise<FileHandle> {
  if (file === "-") {
    throw new BlixardError("INVALID_ARGUMENT", "-: what is exported goes into a file, and not to standard output", {
      hint: "Name a file that is not there yet.",
    });
  }
  try {
    return await open(file, "wx", 0o600);
  } catch (error) {
    if (systemErrorCodeOf(error) === "EEXIST") {
      const hint = "Name another file, or remove that one.";
      throw new BlixardError("ALREADY_EXISTS", `${file} is there already`, { hint, cause: error });
    }
    const hint = "Name a file in a folder that is there and that you may write to.";
    throw new BlixardError("INVALID_ARGUMENT", `${file} cannot be made: ${messageOf(error)}`, { hint, cause: error });
  }
}
