/** The certificates that nodes show on the TLS side of their bind port. */
import { z } from "zod";
import { method } from "./definitions.ts";
import { pageRequest, pageSchema } from "./list.ts";
import { digestSchema, nodeIdSchema } from "./values.ts";

export const certificateViewSchema = z.object({
  nodeId: nodeIdSchema,
  /** `node-key`: made by the node of its own key; `operator-ca`: issued by an operator's CA. */
  kind: z.enum(["node-key", "operator-ca"]),
  subject: z.string(),
  issuer: z.string(),
  serial: z.string(),
  notBeforeUnixMs: z.int(),
  notAfterUnixMs: z.int(),
  /** SHA-256 of the certificate. */
  fingerprint: digestSchema,
});
export type CertificateView = z.infer<typeof certificateViewSchema>;

const request = z.object({ scope: z.enum(["node", "cluster"]).default("cluster") }).strict();
const response = z.object({ items: z.array(certificateViewSchema) });

export const certMethods = {
  "cert.list": method({
    summary: "the certificates of the node that is asked, or of all",
    place: "local",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/certificates" }],
    client: { group: "certificates", name: "list", args: ["scope"], gives: "items", pages: true },
    request: request.extend(pageRequest),
    response: pageSchema(certificateViewSchema),
  }),
  /** New ones for new connections; those that are open go on. */
  "cert.rotate": method({
    summary: "new certificates for new connections",
    place: "local",
    access: "admin",
    writes: false,
    http: [{ verb: "POST", path: "/v1/certificates/rotate" }],
    client: { group: "certificates", name: "rotate", args: ["scope"], gives: "items" },
    request,
    response,
  }),
};
