"""A receiver of webhooks by the stock library of Standard Webhooks.

Prints its address, reads the secret (a line on standard input), then takes deliveries and prints for each, as JSON on one line, what the
library says: the verified payload, and which forgeries it has refused. Ends when standard input does.
"""

import base64
import http.server
import json
import sys
import threading

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

secret = None
known = threading.Event()


def refuses(key, body, headers):
    try:
        Webhook(key).verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        known.wait()
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"verified": Webhook(secret).verify(body, headers), "forged": []}
        other = "whsec_" + base64.b64encode(b"\x07" * 32).decode()
        forgeries = {
            "body": (secret, body.replace(b"}", b" }"), headers),
            "id": (secret, body, {**headers, "webhook-id": headers["webhook-id"] + "x"}),
            "timestamp": (secret, body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
            "secret": (other, body, headers),
        }
        said["forged"] = [name for name, forgery in forgeries.items() if refuses(*forgery)]
        print(json.dumps(said), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
secret = sys.stdin.readline().strip()
known.set()
sys.stdin.read()
