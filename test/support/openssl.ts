/** Certificates that openssl makes: signed by themselves, for 127.0.0.1, for two days. */
import { execFileSync } from 'node:child_process';

/** What `openssl req -newkey` takes for the kind of key that is usual. */
const P256: readonly string[] = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

/** Where the two files are to be. */
export interface CertificatePaths {
  readonly key: string;
  readonly certificate: string;
}

export interface CertificateParts {
  /** Its common name. */
  readonly name?: string;
  /** What `openssl req -newkey` takes. */
  readonly kind?: readonly string[] | undefined;
}

export function makeCertificate(
  { key, certificate }: CertificatePaths,
  { name = '127.0.0.1', kind = P256 }: CertificateParts = {},
): void {
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  const out = ['-nodes', '-keyout', key, '-out', certificate, '-days', '2'];
  const subject = ['-subj', `/CN=${name}`, '-addext', names];
  execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, ...out, ...subject], {
    stdio: 'pipe',
  });
}
