/** The mode, owner and group of unix socket files, as numbers. */
import type { SocketRights } from '../../net/socket-file.ts';
import type { Path, Report } from '../finding.ts';
import type { Config } from '../schema/schema.ts';
import type { SocketFile } from '../schema/socket-schema.ts';
import { numberOf } from './accounts.ts';

/** By address: `unix:/path`. */
export async function loadSocketRights(config: Config, report: Report): Promise<Map<string, SocketRights>> {
  const found = await Promise.all(
    socketsOf(config).map(async ({ key, path, socket }): Promise<[string, SocketRights]> => {
      const mode = Number.parseInt(socket.mode, 8);
      if ((mode & 0o222) === 0) {
        const message = 'connecting needs write permission, which with this mode only root has';
        report.warn([...path, 'mode'], message);
      }
      const [uid, gid] = await Promise.all([
        accountAt('passwd', socket.owner, [...path, 'owner'], report),
        accountAt('group', socket.group, [...path, 'group'], report),
      ]);
      return [socket.address, { key, mode, uid, gid }];
    }),
  );
  return new Map(found);
}

type Asked = { readonly key: string; readonly path: Path; readonly socket: SocketFile };

function socketsOf({ listeners, admin }: Config): Asked[] {
  const asked = Object.entries(listeners).flatMap(([name, { bind, sockets }]) =>
    sockets.map((socket) => ({
      key: `listeners.${name}.bind`,
      path: ['listeners', name, 'bind', bind.indexOf(socket.address)],
      socket,
    })),
  );
  const ofAdmin = (admin?.sockets ?? []).map((socket) => ({
    key: 'admin.bind',
    path: ['admin', 'bind'],
    socket,
  }));
  return [...asked, ...ofAdmin];
}

async function accountAt(
  kind: 'passwd' | 'group',
  account: string | undefined,
  path: Path,
  report: Report,
): Promise<number | undefined> {
  if (account === undefined) return undefined;
  const number = await numberOf(kind, account);
  const what = kind === 'passwd' ? 'user' : 'group';
  if (number === undefined)
    report.fault(path, `this machine has no ${what} "${account}"`, `see \`getent ${kind}\``);
  return number;
}
