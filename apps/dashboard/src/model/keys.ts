/** What keys mean to a serial console. */

const named: Readonly<Record<string, string>> = {
  Enter: "\r",
  Backspace: "\x7f",
  Tab: "\t",
  Escape: "\x1b",
  ArrowUp: "\x1b[A",
  ArrowDown: "\x1b[B",
  ArrowRight: "\x1b[C",
  ArrowLeft: "\x1b[D",
  Home: "\x1b[H",
  End: "\x1b[F",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
  Delete: "\x1b[3~",
};

interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
}

/** The bytes of a key that writes no text; undefined for one that the browser keeps: text, Shift-Tab, paste, its own shortcuts. */
export function bytesOfKey({ key, ctrlKey, altKey, metaKey, shiftKey }: Key): string | undefined {
  if (metaKey || altKey) return undefined;
  if (!ctrlKey) return key === "Tab" && shiftKey ? undefined : named[key];
  if (shiftKey || key.toLowerCase() === "v") return undefined;
  const code = key.length === 1 ? key.toUpperCase().charCodeAt(0) - 64 : -1;
  return code >= 0 && code < 32 ? String.fromCharCode(code) : undefined;
}
