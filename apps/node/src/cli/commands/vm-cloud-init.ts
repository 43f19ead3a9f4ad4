/** What cloud-init is told, on the command line: files, since secrets on a command line are seen by everybody on the machine. */
import { BlixardError, messageOf } from "@blixard/common";
import { readNamedFile } from "@blixard/common/system";
import { limits, type VmSpecInput } from "@blixard/protocol";
import type { ListOption } from "./list-option.ts";

export const userDataFlag = "--user-data <file>";

export const sshKeyOption: ListOption = {
  flag: "--ssh-key <file>",
  hint: "a public key such as ~/.ssh/id_ed25519.pub",
  read: (given) => given,
};

const keyFileBytesMax = 64 * 1024;

/** The specification with what is in the files that it names. @throws INVALID_ARGUMENT for one that cannot be read */
export async function withCloudInitFiles(spec: VmSpecInput): Promise<VmSpecInput> {
  const { cloudInit } = spec;
  if (cloudInit === undefined) return spec;
  const { userData, sshKeys, ...rest } = cloudInit;
  return {
    ...spec,
    cloudInit: {
      ...rest,
      ...(userData === undefined ? {} : { userData: await textOf("--user-data", userData, limits.vmUserDataBytesMax) }),
      ...(sshKeys === undefined ? {} : { sshKeys: await keysOf(sshKeys) }),
    },
  };
}

async function keysOf(files: readonly string[]): Promise<string[]> {
  const texts = await Promise.all(files.map((file) => textOf("--ssh-key", file, keyFileBytesMax)));
  const lines = texts.flatMap((text) => text.split(/\r?\n/)).map((line) => line.trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

async function textOf(option: string, file: string, bytesMax: number): Promise<string> {
  try {
    return await readNamedFile(file, bytesMax);
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `${option} ${file}: ${messageOf(error)}`, { cause: error });
  }
}
