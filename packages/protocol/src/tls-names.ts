/**
 * How a client asks a bind port for the certificate of the node's own key. Without both, a node that has a certificate of
 * an operator's CA shows that one: the name chooses among certificates with keys of one kind, the signature algorithm
 * among kinds, for OpenSSL keeps those of the other kinds when a name chooses.
 */
export const nodeKeyTls = { servername: "node-key.blixard.internal", sigalgs: "ed25519" } as const;
