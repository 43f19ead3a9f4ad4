/** The port to the key file of this node: how it gets another key. */
export interface KeyRotation {
  /** The key to which this node changes next: made when there is none, and durable when it resolves. */
  next(): Promise<NextKey>;
  /**
   * Puts the next key in the place of the present one, durable when it resolves. This process goes on with the key of
   * before, so the node is started again. @throws CONFLICT when `endpointId` is not the next key
   */
  use(endpointId: string): Promise<void>;
}

export interface NextKey {
  readonly endpointId: string;
  /** 64 bytes, of the next key. */
  sign(message: Uint8Array): Uint8Array;
}
