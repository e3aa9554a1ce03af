"""Settings: one table, three sources, and errors that name the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.settings.values import Switch
from vinom.errors import Misconfigured
from vinom.node.settings import TABLE, Settings, gather
from vinom.node.twistd import Options


class SettingsTests(SynchronousTestCase):
    """What an operator writes is what the node does, or an error that helps."""

    def write(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    def assert_misconfigured(self, words: str, *args: Any) -> None:
        error = self.assertRaises(Misconfigured, gather, *args)
        self.assertIn(words, str(error))
        self.assertNotIn("\n", str(error))

    def test_defaults_stay_on_this_machine(self) -> None:
        """
        A node without settings listens on the loopback only.
        """
        settings = gather({}, {})
        self.assertEqual(settings.interface, "127.0.0.1")
        self.assertEqual(settings.public_host, "127.0.0.1")
        self.assertFalse(settings.allow_plaintext)
        self.assertEqual(settings.guests, "loopback")
        self.assertIsNone(settings.admin)

    def test_precedence(self) -> None:
        """
        The command line wins over the environment, and that over the file.
        """
        path = self.write("port = 1\nwarm = 1\nfill_seconds = 1")
        settings = gather({"port": "3"}, {"VINOM_PORT": "2", "VINOM_WARM": "2"}, path)
        self.assertEqual(
            (settings.port, settings.warm, settings.fill_seconds), (3, 2, 1.0)
        )

    def test_file_named_by_variable(self) -> None:
        """
        ``VINOM_CONFIG`` names the file, for containers.
        """
        path = self.write("port = 4611")
        self.assertEqual(gather({}, {"VINOM_CONFIG": str(path)}).port, 4611)

    def test_unknown_keys_name_the_nearest(self) -> None:
        """
        A typing error is an error, with a suggestion.
        """
        self.assert_misconfigured("'drain_seconds'", {}, {}, self.write("drain-secs=1"))
        self.assert_misconfigured("'VINOM_PORTS'", {}, {"VINOM_PROTS": "1-2"})

    def test_every_kind_in_every_source(self) -> None:
        """
        Every setting can be given on the command line, as variable and in TOML.
        """
        key = self.write("k")
        url = "https://login.example.org/jwks.json"
        samples = {
            "interface": "::1",
            "ports": "5000-5003",
            "http": "8080",
            "realm": "eu.game.example",
            "guests": "no",
            "log_format": "json",
            "log_level": "warn",
            "admin": "tcp:1",
            "allow_plaintext": "true",
            "http_tls": "true",
            "twisted_tls": "true",
            "origin": "*.example.com",
            "browsers_only": "true",
            "any_origin": "true",
            "proxy": "10.0.0.0/8",
            "identity_keys_url": url,
            "results_url": "http://127.0.0.1:8080/results",
            "deflate": "true",
            "watch_matches": "none",
            "wall": "no",
            "on_stop": "leave",
            "recordings_ids": "no",
            "checkpoints": "no",
            "store": "redis://redis.internal/1",
            "store_prefix": "eu-1",
            "queues": '{"ranked": {"game": "maze"}}',
            "games": '{"pong": {"command": ["pong"]}}',
            "udp": "relay",
            "regions": "eu=https://eu.example.org/echo",
            "node_link": "4700",
            "pods": '{"image":"registry.example.org/game:1"}',
            "udp_address": "n1.example.org:46000",
            "game_server_address": "n1.example.org:4700",
            "game_server_any_node": "nodes.example.org:4700",
            "direct_lobby": "[2001:db8::1]:4600",
            "direct_websocket": "wss://n1.example.org/ws",
        }
        for row in TABLE:
            text = samples.get(row.name)
            if text is None:
                text = str(key) if row.kind.metavar == "PATH" else "300"
            environment = {row.variable: text}
            if row.name == "udp_address":
                environment["VINOM_UDP"] = "relay"
            if row.name == "store_ca":
                environment["VINOM_STORE"] = "rediss://redis.internal"
            is_direct = row.name.startswith("direct_")
            if row.name in ("node_link", "game_server_any_node") or is_direct:
                environment["VINOM_STORE"] = "redis://redis.internal"
            if "VINOM_STORE" in environment or row.name == "store_ca":
                environment["VINOM_AUTHORITY_CERTIFICATE_FILE"] = str(key)
                environment["VINOM_AUTHORITY_KEY_FILE"] = str(key)
            keys = "identity_keys_file"
            if row.name in ("identity_keys_url", "identity_authority_file"):
                keys = "identity_keys_url"
            for one, other in (
                ("identity_issuer", "identity_audience"),
                ("identity_issuer", keys),
                ("identity_authority_file", keys),
                ("tls_certificate_file", "tls_key_file"),
                ("authority_certificate_file", "authority_key_file"),
                ("admin", "admin_token_file"),
            ):
                if one == "identity_authority_file" and row.name != one:
                    continue
                if row.name in (one, other) or row.name.startswith("identity_"):
                    for name in (one, other):
                        if name == "identity_keys_url":
                            environment.setdefault("VINOM_IDENTITY_KEYS_URL", url)
                        elif name != "admin" or row.name == "admin":
                            environment.setdefault(f"VINOM_{name.upper()}", str(key))
            if row.section == "pods":
                away = {"pods": '{"image":"a"}'}
                for name, value in {**away, "game_server_link": "300"}.items():
                    environment.setdefault(f"VINOM_{name.upper()}", value)
            if row.name in ("results_secret_file", "results_authority_file"):
                environment["VINOM_RESULTS_URL"] = url
            if row.name in ("results_url", "results_authority_file"):
                environment["VINOM_RESULTS_SECRET_FILE"] = str(key)
            from_variable = gather({}, environment)
            given = {
                name.removeprefix("VINOM_").lower(): value
                for name, value in environment.items()
            }
            for other in TABLE:
                if other.many and other.name in given:
                    given[other.name] = [given[other.name]]
            if isinstance(row.kind, Switch):
                given[row.name] = True
            self.assertEqual(gather(given, {}), from_variable, row.name)
            self.assertNotEqual(
                getattr(from_variable, row.name), getattr(Settings(), row.name)
            )

    def test_pods(self) -> None:
        """
        A node whose game servers are pods needs all that pods need, and one without
        pods has none of it.
        """
        pods = '{"image": "a"}'
        whole = {"pods": pods, "game_server_link": "4700"}
        for wrong, words in (
            ({"pods": pods}, "pods need game_server_link"),
            ({"game_server_link": "4700"}, "set the table [pods] with an image"),
            (
                {**whole, "game_server_link": "unix:/s"},
                "pods cannot reach game_server_link unix:/s",
            ),
            (
                {**whole, "interface": "0.0.0.0", "advertise": "x.example"},
                "set game_server_address",
            ),
            (
                {"game_server_any_node": "nodes:4700"},
                "game_server_any_node is for game servers in pods",
            ),
            (
                {**whole, "game_server_any_node": "nodes:4700"},
                "game_server_any_node nodes:4700 needs a Redis that the nodes share",
            ),
            ({**whole, "pods": "[]"}, "must be a table"),
            ({**whole, "pods": "{}"}, "pods is wrong: set image"),
            (
                {**whole, "pods": '{"image": ""}'},
                "image must be a text of length >= 1",
            ),
            (
                {**whole, "pods": '{"image": "a", "immage": 1}'},
                "there is no 'immage' in it; did you mean 'image'?",
            ),
            ({**whole, "pods": '{"image": 5}'}, "image must be a text, not a whole"),
            (
                {**whole, "pods": '{"image": "a", "proof": "port"}'},
                "proof must be one of secret, token, not 'port'",
            ),
            (
                {**whole, "pods": '{"image": "a", "port": 70000}'},
                "port must be a whole number <= 65535",
            ),
            (
                {**whole, "pods": '{"image": "a", "requests": {"cpu": 1}}'},
                "requests must be a text, not a whole number",
            ),
            ({**whole, "pods": '{"image":"a","owner":"A b"}'}, "has the owner 'A b'"),
            (
                {**whole, "pods": '{"image":"a","spec":{"containers":[]}}'},
                "must not set spec.containers",
            ),
        ):
            with self.subTest(wrong):
                error = self.assertRaises(Misconfigured, gather, wrong, {})
                self.assertIn(words, str(error))
        self.assertEqual(gather(whole, {}).pod_link, "127.0.0.1:4700")
        named = gather({**whole, "game_server_address": "n1.games.svc:4700"}, {})
        self.assertEqual(named.pod_link, "n1.games.svc:4700")
        v6 = gather({**whole, "interface": "::1"}, {})
        self.assertEqual(v6.pod_link, "[::1]:4700")

    def test_where_the_relay_is(self) -> None:
        """
        Players over UDP are sent to the node's first port, or to what is before it.
        """
        relay = {"udp": "relay", "ports": "46000-46009"}
        self.assertEqual(gather(relay, {}).udp_place, ("127.0.0.1", 46000))
        for text, place in (
            ("n1.example.org:7", ("n1.example.org", 7)),
            ("[2001:db8::1]:8", ("2001:db8::1", 8)),
        ):
            settings = gather({**relay, "udp_address": text}, {})
            self.assertEqual(settings.udp_place, place)
        self.assert_misconfigured("set udp to relay", {"udp_address": "n1:7"}, {})
        self.assert_misconfigured("must look like", {**relay, "udp_address": "n1"}, {})

    def test_direct_addresses(self) -> None:
        """
        Addresses to which players are sent are checked, and need a link for others.
        """
        for text in ("4600", "n1.example.org", "n1:0", "a@n1:1", "n1:4600/ws", "n1:x"):
            self.assert_misconfigured("must look like", {"direct_lobby": text}, {})
        for text in ("https://n1/ws", "wss:///ws", "wss://n1/ws;x", "n1.example.org"):
            self.assert_misconfigured("must look like", {"direct_websocket": text}, {})
        self.assert_misconfigured(
            "that all nodes share", {"direct_lobby": "n1.example.org:4600"}, {}
        )

    def test_toml_types(self) -> None:
        """
        TOML's own numbers, switches and lists are taken, and others refused.
        """
        path = self.write('allow_plaintext = true\ngame = ["a:B"]\nhttp = 80')
        settings = gather({}, {}, path)
        self.assertEqual(
            (settings.allow_plaintext, settings.game, settings.http),
            (True, ("a:B",), "80"),
        )
        for text, words in (
            ('allow_plaintext = "yes"', "allow_plaintext must be true or false"),
            ('port = "1"', "port must be a number"),
            ('game = "a:B"', "game must be a list"),
            ('origin = ["*"]', "origin must be a host; for every site, set any_origin"),
            ('proxy = ["10.0.0.1/8"]', "proxy must be an address, or a network"),
            ("interface = 1", "interface must be text"),
            ("port = 70000", "port must be from 0 to 65535"),
            ("port = true", "port must be a number"),
            ("port = ", "end of document, is not TOML: invalid value; write name ="),
            ("port = 1\nhttp = x", "line 2, column 8, is not TOML: invalid value"),
            ('gateway_link = "tcp:4650"', "plain TCP would let anybody speak for any"),
            ('gateway_link = "unix:link"', "or unix:/path"),
            ("gateway_link = 70000", "must be a port or tls:HOST:PORT"),
            ('gateway_link = "tls:1.2.3:4650"', "does not appear to be an IPv4"),
        ):
            self.assert_misconfigured(words, {}, {}, self.write(text))

    def test_gateway_link(self) -> None:
        """
        A port alone means TLS; an address of either family, or a socket, may be named.
        """
        for text, expected in (
            ("4650", "tls:4650"),
            ("tls:4650", "tls:4650"),
            ("tls:10.0.0.1:4650", "tls:10.0.0.1:4650"),
            ("[::1]:4650", "tls:[::1]:4650"),
            ("unix:/run/g.sock", "unix:/run/g.sock"),
        ):
            settings = gather({"gateway_link": text}, {})
            self.assertEqual(settings.gateway_link, expected)
        port = gather({}, {}, self.write("gateway_link = 4650")).gateway_link
        self.assertEqual(port, "tls:4650")

    def test_contradictions(self) -> None:
        """
        Settings that make no sense together are refused before anything starts.
        """
        for variables, words in (
            ({"VINOM_INTERFACE": "0.0.0.0"}, "set advertise"),
            ({"VINOM_INTERFACE": "localhost"}, "must be an IP address"),
            ({"VINOM_ADMIN": "8001"}, "set admin_token_file"),
            ({"VINOM_TLS_KEY_FILE": "k"}, "set both tls_certificate_file"),
            *(
                ({f"VINOM_IDENTITY_{name}": value}, "set identity_issuer, identity_aud")
                for name, value in (
                    ("ISSUER", "i"),
                    ("AUDIENCE", "a"),
                    ("KEYS_FILE", "k"),
                    ("KEYS_URL", "https://a.example/jwks"),
                )
            ),
            (
                {
                    "VINOM_IDENTITY_KEYS_FILE": "k",
                    "VINOM_IDENTITY_KEYS_URL": "https://a.example/jwks",
                },
                "identity_keys_file or identity_keys_url, not both",
            ),
            ({"VINOM_IDENTITY_AUTHORITY_FILE": "k"}, "set that too, or neither"),
            *(
                ({"VINOM_IDENTITY_KEYS_URL": url}, "must be an https URL such as")
                for url in (
                    "http://a.example/jwks",
                    "https://",
                    "https:///jwks",
                    "https://ann:secret@a.example/jwks",
                    "https://a.example/jwks#one",
                    "https://a.example/a b",
                    "https://é.example/",
                    "a.example/jwks",
                )
            ),
            ({"VINOM_IDENTITY_KEYS_URL": "https://a:99999/"}, "Port out of range"),
            ({"VINOM_RESULTS_URL": "https://a.example/"}, "results_secret_file, or"),
            ({"VINOM_RESULTS_SECRET_FILE": "k"}, "results_secret_file, or neither"),
            ({"VINOM_RESULTS_AUTHORITY_FILE": "k"}, "set that too, or neither"),
            (
                {
                    "VINOM_RESULTS_URL": "https://a.example/",
                    "VINOM_RESULTS_SECRET_FILE": "k",
                    "VINOM_RESULTS_MOST": "0",
                },
                "results_most is 0",
            ),
            *(
                ({"VINOM_RESULTS_URL": url}, "http is for this machine only")
                for url in (
                    "http://a.example/results",
                    "http://10.0.0.1/results",
                    "http://127.0.0.1@a.example/",
                    "http://127.0.0.1.a.example/",
                    "ftp://127.0.0.1/",
                )
            ),
            ({"VINOM_MAX_SERVERS": "1"}, "warm 2 is more than max_servers 1"),
            ({"VINOM_REALM": "vinom"}, "must be a domain such as game.vinom"),
            ({"VINOM_PORTS": "20-10"}, "VINOM_PORTS must go from a port"),
            ({"VINOM_DRAIN_SECONDS": "nan"}, "must be from 0"),
        ):
            self.assert_misconfigured(words, {}, variables)

    def test_no_secret_on_the_command_line(self) -> None:
        """
        Keys and tokens are read from files, so that no process list shows them.
        """
        for row in TABLE:
            if any(word in row.name for word in ("_key", "token")):
                self.assertTrue(
                    row.name.endswith(("_file", "_seconds", "_url")),
                    f"{row.name} is a secret",
                )

    def test_help_lists_everything(self) -> None:
        """
        ``twistd vinom --help`` has every setting, with its default.
        """
        text = " ".join(str(Options()).split())
        for row in TABLE:
            self.assertIn(f"--{row.flag}", text)
        self.assertIn("(default 46000-46063)", text)

    def test_options_of_twistd(self) -> None:
        """
        Options given to twistd arrive as settings.
        """
        options = Options()
        options.parseOptions(
            ["--port", "0", "--allow-plaintext", "--game=a:B", "--game=c:D"]
        )
        self.assertEqual(
            options["settings"],
            attrs.evolve(Settings(), port=0, allow_plaintext=True, game=("a:B", "c:D")),
        )

    def test_mistake_is_one_line(self) -> None:
        """
        A wrong value ends twistd with one line, not with a traceback.
        """
        with self.assertRaises(SystemExit) as caught:
            Options().parseOptions(["--port", "many"])
        self.assertEqual(
            str(caught.exception),
            "twistd vinom: --port must be a whole number, not 'many'",
        )

    def test_option_that_is_not_there(self) -> None:
        """
        A misspelt option names the nearest one, in one line; so do other slips.
        """
        for typed, words in (
            (["--prot", "5"], "unknown option '--prot'; did you mean '--port'?"),
            (["--drain_second=5"], "did you mean '--drain-seconds'?"),
            (["--lobby-port=1"], "did you mean '--port'?"),
            # Nothing is like it: a wrong guess would be worse than none.
            (["--frobnicate"], "unknown option '--frobnicate'; twistd vinom --help"),
            (["--port"], "option --port requires argument; see --help"),
            (["maze"], "wrong number of arguments; see --help"),
        ):
            with self.assertRaises(SystemExit) as caught:
                Options().parseOptions(typed)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_home_that_is_not_there(self) -> None:
        """
        A path below an unknown user's home is a mistake like any other.
        """
        lost = "~nobody-has-this-name/x"
        self.assert_misconfigured("--state-dir must not be", {"state_dir": lost}, {})
        self.assert_misconfigured("VINOM_CONFIG must", {}, {"VINOM_CONFIG": lost})
        with self.assertRaises(SystemExit) as caught:
            Options().parseOptions(["--config", lost])
        self.assertIn("--config must not be", str(caught.exception))

    def test_file_that_is_not_there(self) -> None:
        """
        A settings file that cannot be read is reported with the setting that names it.
        """
        error = self.assertRaises(Misconfigured, gather, {}, {}, Path("/nowhere.toml"))
        self.assertIn("/nowhere.toml: No such file", str(error))
        self.assertIn("--config, or VINOM_CONFIG", str(error))

    def test_everywhere_is_no_address(self) -> None:
        """
        However "every interface" is written, players must be sent another address.
        """
        for everywhere in ("0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"):
            self.assert_misconfigured("advertise", {"interface": everywhere}, {})
            told = gather({"interface": everywhere, "advertise": "a.example"}, {})
            self.assertEqual(told.public_host, "a.example")

    @given(st.sampled_from(TABLE), st.text(max_size=40))
    def test_any_text(self, row: Any, text: str) -> None:
        """
        A setting takes any text, or refuses it with a sentence.
        """
        try:
            row.kind.read(text)
        except ValueError as error:
            self.assertTrue(str(error).startswith("must "), str(error))
