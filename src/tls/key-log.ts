/** Writes the secrets of TLS sessions to a file, in the format that Wireshark reads (SSLKEYLOGFILE). */
import { appendFileSync, closeSync, fchmodSync, openSync } from 'node:fs';

/** Takes one line, including its line feed. */
export type KeyLog = (line: Buffer) => void;

/**
 * Appends to a file that only its owner may read: with it, every connection in it can be decrypted.
 * As it is for debugging, each line is written at once, and the file is opened anew for each, so
 * that it may be moved away meanwhile. Throws the system's error if it cannot be opened; reports the
 * first later failure to `onFault`.
 */
export function openKeyLog(file: string, onFault: (error: Error) => void): KeyLog {
  // Restricts an existing file too.
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
