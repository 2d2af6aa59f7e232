/** Reads and checks the authorities that a configuration trusts: CA certificates and revocation lists. */
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { type RevocationList, readRevocationList } from '../../x509/revocation-list.ts';
import type { Path, Report } from '../finding.ts';
import { type Files, pemBlocks, pemText } from '../read/files.ts';
import type { Config } from '../schema/schema.ts';
import { readSubject } from './der.ts';
import { datesHoldUntil, describeDates, nameOf, reasonOf, warnOfDates } from './describe.ts';
import { foreignFormat } from './foreign-formats.ts';
import type { Material, MaterialMemory } from './memory.ts';

export type LoadedAuthority = {
  readonly name: string;
  /** PEM, one certificate each. */
  readonly ca: readonly string[];
  /** The same, parsed. */
  readonly certificates: readonly X509Certificate[];
  /** PEM, one CRL each. */
  readonly crl: readonly string[];
  /** The nextUpdate of each CRL in `crl`; undefined if it has none. */
  readonly crlNextUpdates: readonly (Date | undefined)[];
};

/** Reads all of them and adds `system`. Reports those that have faults. */
export async function loadAuthorities(
  config: Pick<Config, 'authorities'>,
  files: Files,
  report: Report,
  memory?: MaterialMemory,
): Promise<Map<string, LoadedAuthority>> {
  const loaded = new Map<string, LoadedAuthority>();
  for (const [name, settings] of Object.entries(config.authorities)) {
    const load = (to: Report) => loadAuthority(name, settings, files, to);
    const authority = memory
      ? await memory.load(authorityMaterial(name, settings), files, report, load)
      : await load(report);
    loaded.set(name, authority);
  }
  return loaded.set('system', systemAuthority());
}

type AuthorityConfig = Config['authorities'][string];

export function authorityMaterial(name: string, settings: AuthorityConfig): Material {
  return { name: `authorities.${name}`, settings, named: [...settings.ca, ...(settings.crl ?? [])] };
}

async function loadAuthority(
  name: string,
  { ca, crl = [] }: AuthorityConfig,
  files: Files,
  report: Report,
): Promise<LoadedAuthority> {
  const path = ['authorities', name];
  const certificates = await readCertificates(ca, [...path, 'ca'], files, report);
  const lists = await readLists(crl, [...path, 'crl'], files, report);
  checkChains(certificates, [...path, 'ca'], report);
  checkLists(certificates, lists, path, report);
  return {
    name,
    ca: certificates.map(String),
    certificates,
    crl: lists.map(({ pem }) => pem),
    crlNextUpdates: lists.map(({ nextUpdate }) => nextUpdate),
  };
}

/** The system's roots, or Node's own if the system has none. Created on first use. */
export function systemAuthority(): LoadedAuthority {
  let ca: readonly string[] | undefined;
  let certificates: readonly X509Certificate[] | undefined;
  const roots = () => {
    // Only since Node 22.15, hence no named import; earlier there are only the roots that come with Node.
    const installed = typeof tls.getCACertificates === 'function' ? tls.getCACertificates('system') : [];
    return installed.length > 0 ? installed : tls.rootCertificates;
  };
  return {
    name: 'system',
    get ca() {
      ca ??= roots();
      return ca;
    },
    get certificates() {
      certificates ??= this.ca.map((pem) => new X509Certificate(pem));
      return certificates;
    },
    crl: [],
    crlNextUpdates: [],
  };
}

async function readCertificates(
  names: readonly string[],
  path: Path,
  files: Files,
  report: Report,
): Promise<X509Certificate[]> {
  const certificates: X509Certificate[] = [];
  for (const [index, file] of names.entries()) {
    const place = [...path, index];
    const content = await files.read(file, place, report);
    if (content === undefined) continue;
    const blocks = pemBlocks(pemText(content), 'CERTIFICATE');
    if (blocks.length === 0) {
      const other = foreignFormat(content, file, 'authority');
      report.fault(
        place,
        `${file} holds no PEM certificate${other ? `: it is ${other.what}` : ''}`,
        other?.hint,
      );
    }
    try {
      const read = blocks.map((block) => new X509Certificate(block));
      for (const certificate of read.filter(({ ca }) => !ca)) {
        report.warn(
          place,
          `the certificate "${nameOf(certificate)}" is not a CA`,
          'what it signed is not accepted',
        );
      }
      warnOfDates(read, place, report);
      certificates.push(...read);
    } catch (error) {
      report.fault(place, `${file} cannot be parsed as a certificate (${reasonOf(error)})`);
    }
  }
  return certificates;
}

/** Node follows clients' chains to a self-signed root, and offers no other way, so the root must be here. */
function checkChains(certificates: readonly X509Certificate[], path: Path, report: Report): void {
  const isRoot = ({ subject, issuer }: X509Certificate) => subject === issuer;
  const orphan = certificates.find(
    (one) => !isRoot(one) && !certificates.some((other) => one.checkIssued(other)),
  );
  if (orphan === undefined) return;
  const message = `the issuer of "${nameOf(orphan)}" is not here, and chains are followed to their root`;
  const hint = `add the root: ${orphan.issuer.replaceAll('\n', ', ')}`;
  if (certificates.some(isRoot)) report.warn(path, message, hint);
  else report.fault(path, message, hint);
}

type LoadedList = {
  readonly pem: string;
  readonly issuer: string;
  readonly nextUpdate: Date | undefined;
  readonly scope: RevocationList['scope'];
  readonly path: Path;
};

async function readLists(
  names: readonly string[],
  path: Path,
  files: Files,
  report: Report,
): Promise<LoadedList[]> {
  const lists: LoadedList[] = [];
  for (const [index, file] of names.entries()) {
    const place = [...path, index];
    const content = await files.read(file, place, report);
    if (content === undefined) continue;
    const blocks = pemBlocks(content.toString('latin1'), 'X509 CRL');
    if (blocks.length === 0) {
      const hint = 'PEM begins with -----BEGIN X509 CRL-----; `openssl crl -inform DER` converts';
      report.fault(place, `${file} holds no PEM revocation list`, hint);
    }
    for (const pem of blocks) {
      const list = readRevocationList(pem);
      // Read the whole list now, so that none turns out to be unreadable later and then revokes nothing.
      if (list?.serials() && openSslTakes(pem)) lists.push({ pem, ...summaryOf(list), path: place });
      else report.fault(place, `${file} cannot be parsed as a revocation list`);
    }
  }
  return lists;
}

function summaryOf({
  issuerDer,
  nextUpdate,
  scope,
}: RevocationList): Pick<LoadedList, 'issuer' | 'nextUpdate' | 'scope'> {
  return {
    issuer: issuerDer.toString('hex'),
    scope,
    nextUpdate: Number.isFinite(nextUpdate) ? new Date(nextUpdate) : undefined,
  };
}

function openSslTakes(crl: string): boolean {
  try {
    tls.createSecureContext({ crl });
    return true;
  } catch {
    return false;
  }
}

function checkLists(
  certificates: readonly X509Certificate[],
  lists: readonly LoadedList[],
  path: Path,
  report: Report,
): void {
  if (lists.length === 0 || certificates.length === 0) return;
  const subjects = new Map(certificates.map((certificate) => [readSubject(certificate.raw), certificate]));
  for (const { issuer, nextUpdate, path: place } of lists) {
    const expiry = nextUpdate && describeDates(new Date(0), nextUpdate);
    if (nextUpdate) report.holdsUntil?.(datesHoldUntil(new Date(0), nextUpdate));
    if (expiry?.startsWith('expired')) {
      report.warn(place, `the revocation list ${expiry}`, 'every certificate is refused until it is renewed');
    } else if (expiry)
      report.warn(place, `the revocation list ${expiry}`, 'renew it, or every certificate is refused');
    if (!subjects.has(issuer)) {
      report.warn(place, 'the revocation list is of none of the CAs in `ca`', 'it has no effect');
    }
  }
  const covered = new Set(lists.map(({ issuer }) => issuer));
  for (const [subject, certificate] of subjects) {
    if (covered.has(subject ?? '')) {
      checkScopes(
        certificate,
        certificates,
        lists.filter(({ issuer }) => issuer === subject),
        path,
        report,
      );
      continue;
    }
    const message = `the CA "${nameOf(certificate)}" has no revocation list here, and every CA of a chain needs one`;
    report.warn(
      [...path, 'crl'],
      message,
      'its certificates are refused until it has one, even an empty one',
    );
  }
}

/**
 * Every certificate of a chain is looked up, even the root: a list only for users, as step-ca issues it,
 * would admit no one.
 */
function checkScopes(
  ca: X509Certificate,
  all: readonly X509Certificate[],
  lists: readonly LoadedList[],
  path: Path,
  report: Report,
): void {
  const scopes = new Set(lists.map(({ scope }) => scope));
  if (scopes.has('all')) return;
  const place = [...path, 'crl'];
  const issuesCas = all.some((one) => one.checkIssued(ca));
  if (issuesCas && !scopes.has('cas')) {
    report.warn(
      place,
      `the revocation lists of "${nameOf(ca)}" are not for CAs, and the root is looked up, too`,
      'every certificate is refused: have it issue a list without a scope (issuingDistributionPoint), or add one for CAs',
    );
  } else if (!scopes.has('users')) {
    report.warn(
      place,
      `the revocation lists of "${nameOf(ca)}" are for CAs only`,
      'certificates of clients and servers are refused: add a list for users',
    );
  }
}
