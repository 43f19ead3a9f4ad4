/** The port to the key of this node, for statements that others pass on. The one of `@blixard/identity` is Ed25519. */
export interface NodeSignatures {
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
  /** True when the holder of the key `endpointId` has signed the message. Never throws. */
  verify(endpointId: string, message: Uint8Array, signature: Uint8Array): boolean;
}
