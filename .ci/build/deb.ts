/**
 * `npm run build:deb [-- --arch ARCH]`: a Debian package of the single executable, which build:executable has made: with the systemd
 * unit, logrotate's file, a user, a manual page, and the configurations of config/ as examples. Debian's own tools make it: dpkg-dev has to be there.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { root, version } from './bundle.ts';

const { values } = parseArgs({ options: { arch: { type: 'string', default: process.arch } } });
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const architecture = architectures[values.arch];
if (architecture === undefined) throw new Error(`no Debian architecture for ${values.arch}`);

/** Where Debian's shells look for what completes a command. */
const completions = {
  bash: '/usr/share/bash-completion/completions/penstock',
  zsh: '/usr/share/zsh/vendor-completions/_penstock',
  fish: '/usr/share/fish/vendor_completions.d/penstock.fish',
};

const executable = join(root, 'out', `penstock-linux-${values.arch}`);
const output = join(root, 'out', `penstock_${version}_${architecture}.deb`);
const work = mkdtempSync(join(tmpdir(), 'penstock-deb-'));
const tree = join(work, 'tree');
try {
  lay();
  control();
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '--build', tree, output], { stdio: 'inherit' });
} finally {
  rmSync(work, { recursive: true });
}

/** Every file but those of the package manager. */
function lay(): void {
  const unit = readFileSync(join(root, 'deploy/systemd/penstock.service'), 'utf8');
  const documentation = '/usr/share/doc/penstock';
  copy(executable, '/usr/bin/penstock', 0o755);
  write(
    '/usr/lib/systemd/system/penstock.service',
    unit
      .replace(/^# Copy to .*\n/, '')
      .replaceAll('/usr/local/bin/penstock', '/usr/bin/penstock')
      .replaceAll('/usr/local/lib/node_modules/penstock-proxy/docs', `${documentation}/docs`),
  );
  const rotation = readFileSync(join(root, 'deploy/logrotate/penstock'), 'utf8');
  write('/etc/logrotate.d/penstock', rotation.replace(/^# Copy to .*\n/, ''));
  for (const folder of ['docs', 'config', 'deploy/systemd'])
    copy(join(root, folder), `${documentation}/${folder}`);
  copy(`${executable}.cdx.json`, `${documentation}/sbom.cdx.json`);
  const licences = readFileSync(`${executable}.licenses.txt`, 'utf8');
  write(`${documentation}/copyright`, `${readFileSync(join(root, 'LICENSE'), 'utf8')}\n${licences}`);
  write('/usr/share/man/man1/penstock.1.gz', gzipSync(printed('man'), { level: 9 }));
  for (const [shell, path] of Object.entries(completions)) write(path, printed('completion', shell));
  write(`${documentation}/changelog.gz`, gzipSync(readFileSync(join(root, 'CHANGELOG.md')), { level: 9 }));
}

/** What a command of penstock prints. */
function printed(...command: string[]): Buffer {
  return execFileSync(process.execPath, [join(root, 'src/main.ts'), ...command]);
}

function control(): void {
  const size = execFileSync('du', ['-sk', tree], { encoding: 'utf8' }).split('\t')[0];
  write(
    '/DEBIAN/control',
    `Package: penstock
Version: ${version}
Architecture: ${architecture}
Maintainer: ${maintainer()}
Installed-Size: ${size}
Depends: ${libraries()}, adduser
Recommends: logrotate
Section: net
Priority: optional
Description: Layer-4 TLS-over-TCP stream proxy
 Reads the TLS ClientHello, routes by server name, terminates TLS or passes it
 through, checks client certificates, and pipes the bytes to databases,
 brokers and other services over TCP, TLS or mutual TLS.
`,
  );
  write('/DEBIAN/conffiles', '/etc/logrotate.d/penstock\n');
  for (const script of ['postinst', 'prerm', 'postrm'])
    copy(join(root, 'deploy/debian', script), `/DEBIAN/${script}`, 0o755);
}

/** Whoever builds it, as Debian's own tools know them: by DEBFULLNAME and DEBEMAIL, or else the login. */
function maintainer(): string {
  const { username } = userInfo();
  const { DEBFULLNAME: name = username, DEBEMAIL: email = `${username}@${hostname()}` } = process.env;
  return `${name} <${email}>`;
}

/** What the executable is linked to. The libraries of another architecture are not here, but they are the same. */
function libraries(): string {
  const source = join(work, 'debian');
  mkdirSync(source);
  writeFileSync(join(source, 'control'), 'Source: penstock\n\nPackage: penstock\nArchitecture: any\n');
  const program = join(root, 'out', `penstock-linux-${process.arch}`);
  const found = execFileSync('dpkg-shlibdeps', ['-O', `-e${program}`], {
    cwd: work,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return found.trim().replace('shlibs:Depends=', '');
}

function write(path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true, mode: 0o755 });
  writeFileSync(join(tree, path), content, { mode: 0o644 });
}

function copy(from: string, path: string, mode?: number): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true, mode: 0o755 });
  cpSync(from, join(tree, path), { recursive: true });
  if (mode !== undefined) chmodSync(join(tree, path), mode);
}
