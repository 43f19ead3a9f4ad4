/** A state in a word, with a colour that says how good it is. */
const good = new Set(["ready", "Running", "done", "leader", "healthy", "direct", "self"]);
const bad = new Set(["unreachable", "Failed", "failed", "panicked", "io-error", "not-responding", "none"]);
const middling = new Set([
  ...["catching-up", "Pending", "Unknown", "Preparing", "Starting", "Stopping", "running", "cordoned", "relay"],
  ...["booting", "Paused"],
]);

export function Badge({ text }: { readonly text: string }) {
  const look = good.has(text) ? "good" : bad.has(text) ? "bad" : middling.has(text) ? "middling" : "plain";
  return <span class={`badge ${look}`}>{text}</span>;
}
