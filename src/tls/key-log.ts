/** The secrets of TLS sessions in a file, in the format that Wireshark reads (SSLKEYLOGFILE). */
import { appendFileSync, closeSync, fchmodSync, openSync } from 'node:fs';

/** Takes one line, with its line feed. */
export type KeyLog = (line: Buffer) => void;

/**
 * Appends to a file that only its owner may read. Whoever has it can read every connection in it: it is for
 * debugging, so lines are written at once and the file is opened for each, and may be moved away meanwhile. Throws the
 * system's error if it cannot be opened; later failures are reported once, to `onFault`.
 */
export function openKeyLog(file: string, onFault: (error: Error) => void): KeyLog {
  // Also one that is there already, and open to others.
  const descriptor = openSync(file, 'a', 0o600);
  fchmodSync(descriptor, 0o600);
  closeSync(descriptor);
  let failed = false;
  return (line) => {
    try {
      appendFileSync(file, line, { mode: 0o600 });
    } catch (error) {
      if (!failed) onFault(error as Error);
      failed = true;
    }
  };
}
