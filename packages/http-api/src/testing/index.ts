/** A small node service of its own, for tests of what speaks HTTP. */
export { TestService, vmRecord } from "./test-service.ts";
