/** The embedded driver, for programs that build their own VM manager. */
export type { EmbeddedDriverOptions } from "./embedded-driver.ts";
export { EmbeddedDriver } from "./embedded-driver.ts";
