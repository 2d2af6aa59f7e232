/** The files of unix sockets. */
import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { systemCode } from './errors.ts';

/**
 * Removes a socket file that nobody answers on: a process that died left it. To be done by one process, before any binds
 * it. Anything but a socket stays where it is: connecting to a plain file is refused just so.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const isSocket = await lstat(path).then(
    (file) => file.isSocket(),
    () => false,
  );
  if (isSocket && (await refuses(path))) await unlink(path);
}

function refuses(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path }, () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error) => resolve(systemCode(error) === 'ECONNREFUSED'));
  });
}
