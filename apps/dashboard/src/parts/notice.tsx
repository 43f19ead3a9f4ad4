/** What was done last, for all who look or listen. */
import { signal } from "@preact/signals";

const notice = signal("");
const shownMs = 6_000;
let timer: ReturnType<typeof setTimeout> | undefined;

export function tell(text: string): void {
  notice.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => {
    notice.value = "";
  }, shownMs);
}

export function Notice() {
  return (
    <output class="notice" aria-live="polite">
      {notice.value}
    </output>
  );
}
