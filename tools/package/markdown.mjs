// The parts of a README that are checked: its links and its blocks of code.

const fence = /^( *)```(\w*)[^\n]*\n([\s\S]*?)^\1```\s*$/gm;

/** The fenced blocks: `{ language, code, line }`, where `line` is the number of the line of the fence. */
export function blocksOf(text) {
  return [...text.matchAll(fence)].map((match) => ({
    language: match[2],
    code: match[3],
    line: text.slice(0, match.index).split("\n").length,
  }));
}

/** The targets of links and images outside code. */
export function linksOf(text) {
  const prose = text.replace(fence, "").replace(/`[^`\n]*`/g, "code");
  return [...prose.matchAll(/\]\(\s*<?([^)>\s]+)>?[^)]*\)/g), ...prose.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)].map(
    (match) => match[1],
  );
}
