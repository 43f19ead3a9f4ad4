/**
 * What a guest with cloud-init is told at its first boot. The user data is a secret: a specification holds it on the way to
 * the leader only. What is kept, and what anybody is shown, is a mark in its place; the text itself is sealed.
 */
import { fromUtf8 } from "@blixard/common";
import { z } from "zod";
import { limits } from "../limits.ts";
import { endpointIdSchema, nameSchema } from "./values.ts";

const base64Schema = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/, "is no base64");

/** A line of `authorized_keys` without options, which could hold a command. */
const sshKeySchema = z
  .string()
  .max(limits.vmSshKeyLengthMax)
  .regex(/^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]+={0,3}( [\x20-\x7e]*)?$/, "is no public key of SSH in one line");

export const vmCloudInitSchema = z
  .object({
    userData: z
      .string()
      .refine((text) => !/\p{Surrogate}/u.test(text), "is no text")
      .refine((text) => fromUtf8(text).length <= limits.vmUserDataBytesMax, {
        message: `has more than ${limits.vmUserDataBytesMax} bytes`,
      })
      .describe("its user data for cloud-init, which is sealed and never shown again")
      .exactOptional(),
    sshKeys: z
      .array(sshKeySchema)
      .max(limits.vmSshKeysMax)
      .describe("public keys of SSH that the default user of the guest admits")
      .exactOptional(),
    hostname: nameSchema.describe("its own name (default the name of the VM)").exactOptional(),
  })
  .strict()
  .meta({ since: 3, description: "what cloud-init in the guest is told" });
export type VmCloudInit = Readonly<z.infer<typeof vmCloudInitSchema>>;

/** What stands in a record in place of user data. */
export function sealedMark(bytes: number): string {
  return `(sealed, ${bytes} bytes)`;
}

export function isSealedMark(text: string): boolean {
  return /^\(sealed, \d+ bytes\)$/.test(text);
}

/** A secret that the holders of some keys can open, and nobody else. */
export const sealedSecretSchema = z.object({
  /** The secret under a key of its own: 12 bytes of nonce, the text, 16 bytes of tag. */
  data: base64Schema.max(limits.sealedDataLengthMax),
  /** X25519, made for this sealing. */
  ephemeralKey: z.string().regex(/^[0-9a-f]{64}$/),
  /** The key of the secret, for the holder of each of these node keys. */
  keys: z.array(z.object({ endpointId: endpointIdSchema, wrapped: base64Schema.max(128) })).max(limits.sealedKeysMax),
});
export type SealedSecret = Readonly<z.infer<typeof sealedSecretSchema>>;
