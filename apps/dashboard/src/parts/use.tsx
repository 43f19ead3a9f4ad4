/** How much of something is taken, as a bar and in words. */
interface Props {
  readonly name: string;
  readonly used: number;
  readonly of: number;
  readonly text: string;
}

export function Use({ name, used, of, text }: Props) {
  return (
    <span class="use">
      <meter aria-label={name} min={0} max={Math.max(1, of)} low={0.7 * of} high={0.9 * of} optimum={0} value={used} />
      <span>{text}</span>
    </span>
  );
}
