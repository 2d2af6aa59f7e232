/** An invalid command line: the message goes to stderr, and the exit code is 2. */
export class UsageError extends Error {}

/** The flag whose value commander calls by this name: `--client-cert` for `clientCert`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
