/** The files of an operator's CA that a configuration names. */
import { BlixardError, reasonOf } from "@blixard/common";
import { readNamedFileNow } from "@blixard/common/system";
import type { OperatorTls } from "@blixard/identity";
import type { NodeConfig } from "../node-settings.ts";

const pemBytesMax = 1024 * 1024;

/** What reads them, now and at each rotation; undefined when the nodes' own keys are all there is. @throws INVALID_ARGUMENT */
export function operatorFilesOf(config: NodeConfig): (() => OperatorTls) | undefined {
  const { tlsCert, tlsKey, tlsCa } = config;
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined || tlsCa === undefined) {
    throw new BlixardError("INVALID_ARGUMENT", "--tls-cert, --tls-key and --tls-ca belong together", {
      hint: "Give all three, or none: nodes then prove their own keys with certificates that they make themselves.",
    });
  }
  return () => ({
    cert: read("--tls-cert", tlsCert),
    key: read("--tls-key", tlsKey),
    ca: read("--tls-ca", tlsCa),
  });
}

function read(flag: string, path: string): string {
  try {
    return readNamedFileNow(path, pemBytesMax);
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `${flag} ${path}: ${reasonOf(error)}`, {
      cause: error,
      hint: "Give the path of a PEM file that this user may read.",
    });
  }
}
