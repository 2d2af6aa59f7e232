/** The files of unix sockets. */
import { chmod, lchown, lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { ProxyError, systemCode } from '../errors.ts';

/**
 * Removes a socket file that nobody answers on, left behind by a process that died. Only one process
 * may do it, before anybody binds the file. Leaves anything but a socket alone, since connecting to a
 * plain file is refused in the same way. Throws ProxyError ERR_LISTEN if the file cannot be removed;
 * `option` is the option that names it.
 */
export async function removeStaleSocket(path: string, option: string): Promise<void> {
  const isSocket = await lstat(path).then(
    (file) => file.isSocket(),
    () => false,
  );
  if (!isSocket || !(await refuses(path))) return;
  await unlink(path).catch((cause: Error) => {
    if (systemCode(cause) === 'ENOENT') return;
    throw new ProxyError('ERR_LISTEN', {
      side: 'proxy',
      message: `${option}: unix:${path} was left by a process that has ended, and cannot be removed: ${cause.message}`,
      hint: 'remove it, or let penstock write to its directory',
      cause,
    });
  });
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

export type FileRights = { readonly mode: number; readonly uid: number; readonly gid: number };

/** The rights that a configuration asks for; whatever is absent stays as created. */
export type SocketRights = { readonly [name in keyof FileRights]: number | undefined } & {
  /** Such as `listeners.db.bind`. */
  readonly key: string;
};

/**
 * Changes whom a socket's file lets in: first those before, finally those after, and in between only
 * fewer, never more. Meanwhile the file belongs to this process, which then needs no privilege but
 * CAP_CHOWN. Throws the system's error.
 */
export async function giveRights(path: string, { mode, uid, gid }: FileRights): Promise<void> {
  const file = await lstat(path);
  const own = process.geteuid?.() ?? file.uid;
  const before = file.mode & 0o777;
  if (file.uid === uid && file.gid === gid && before === mode) return;
  if (!file.isSocket()) throw Object.assign(new Error(`${path} is not a socket`), { code: 'ENOTSOCK' });
  // Does not follow links: otherwise, anybody who may write to the directory could
  // make us give away other files.
  if (file.uid !== own) await lchown(path, own, file.gid);
  if (file.gid !== gid) {
    await chmod(path, before & mode);
    await lchown(path, own, gid);
  }
  await chmod(path, mode);
  if (uid !== own) await lchown(path, uid, gid);
}

/**
 * Gives a socket that was created with the rights `made` those that are asked
 * for. Throws ProxyError ERR_LISTEN.
 */
export async function giveRightsAsked(
  path: string,
  made: FileRights,
  asked: SocketRights | undefined,
): Promise<void> {
  try {
    await giveRights(path, {
      mode: asked?.mode ?? made.mode,
      uid: asked?.uid ?? made.uid,
      gid: asked?.gid ?? made.gid,
    });
  } catch (cause) {
    const code = systemCode(cause);
    throw new ProxyError('ERR_LISTEN', {
      side: 'proxy',
      message: `${asked?.key ?? 'bind'}: unix:${path} cannot be given its mode, owner and group (${code})`,
      hint:
        code === 'EPERM'
          ? 'penstock has to run as this owner and in this group, or with CAP_CHOWN'
          : undefined,
      cause,
    });
  }
}
