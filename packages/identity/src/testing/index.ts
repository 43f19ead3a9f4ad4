/** The certificate authority of an operator, for tests. */
export { TestCa } from "./test-ca.ts";
