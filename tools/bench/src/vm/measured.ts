/** What one part of `bench -- vm` found, for people and for programs. */
export interface Measured {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Every sample. */
  readonly raw: Readonly<Record<string, unknown>>;
}
