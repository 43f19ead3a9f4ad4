/** Where a voter keeps the text of its own administrator's token: `admin.token` of the data directory. */
export interface OwnTokenStore {
  /** Undefined when there is none. */
  read(): Promise<string | undefined>;
  /** Durable when it resolves. */
  write(text: string): Promise<void>;
  remove(): Promise<void>;
}
