/** Lines of configuration that let a proxy pass streams on, as the doctor gives them. */

export const UNBUFFERED =
  'nginx: proxy_buffering off; gzip off; no proxy_ignore_headers X-Accel-Buffering; haproxy: ' +
  'option http-no-delay';

/** What keeps a proxy from compressing event streams by itself. */
export const UNCOMPRESSED =
  'do not compress text/event-stream: nginx gzip_types, haproxy compression type, caddy encode; ' +
  'Holdline asks for that with no-transform, which --allow-transform leaves out';

/** What lets the server see which codings a client takes. */
export const ACCEPT_ENCODING_KEPT =
  'pass Accept-Encoding on: nginx: no proxy_set_header Accept-Encoding; haproxy: no compression ' +
  'offload, no http-request del-header Accept-Encoding; caddy: no header_up -Accept-Encoding';

/** What keeps a proxy from decompressing. */
export const UNCOMPRESSING =
  'nginx: gunzip off; caddy: no header_up -Accept-Encoding, after which it asks for gzip itself; ' +
  'elsewhere no filter that reads or rewrites the bodies of text/event-stream';

export const PATIENT =
  'nginx: proxy_read_timeout 1h; haproxy: timeout server 1h (timeout tunnel does not apply); ' +
  'or holdline serve --heartbeat at half that time or less';

export const HOST_KEPT =
  'nginx: proxy_set_header Host $http_host; in place of $host, $proxy_host or none; haproxy: no ' +
  'http-request set-header Host; caddy: no header_up Host';

export const UPGRADES =
  "nginx: map $http_upgrade $connection_upgrade { default upgrade; '' ''; } in http, and " +
  'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection ' +
  '$connection_upgrade; haproxy: no http-request del-header Upgrade; caddy: no header_up -Upgrade';

/** Without a version haproxy asks with HTTP/1.0, which is answered 505. */
export const HAPROXY_CHECK =
  'option httpchk with http-check send meth GET uri /-/ready ver HTTP/1.1 hdr Host localhost';
