/** Text for command lines that people paste. */

/**
 * A text as one word of a POSIX shell, which reads nothing else into it; undefined if it has characters that
 * cannot be pasted.
 */
export function shellWord(text: string): string | undefined {
  if (!/^[ -~]+$/.test(text)) return undefined;
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
