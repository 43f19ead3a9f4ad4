/** A bug in one built file of a package. */
export interface Mutant {
  readonly name: string;
  /** What is wrong, for people. */
  readonly bug: string;
  /** Package and path below its `dist`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** What is simulated to catch it. Default: a cluster. */
  readonly subject?: "cluster" | "registers";
  /** In a cluster in which members were taken over. */
  readonly byzantine?: true;
}
