# Shake hands with a game server, send one payload, expect it back.
#
# godot3-server --no-window --script handshake.gd HOST PORT SERVER_NAME CA_FILE TEXT
# Prints "connected", then "echo TEXT"; exit code 0.
extends SceneTree

var udp = PacketPeerUDP.new()
var dtls = PacketPeerDTLS.new()
var text = ""
var said = false
var waited = 0.0

func _init():
	var words = OS.get_cmdline_args()
	var last = words.size()
	var host = words[last - 5]
	var port = int(words[last - 4])
	var server_name = words[last - 3]
	text = words[last - 1]
	var anchor = X509Certificate.new()
	if anchor.load(words[last - 2]) != OK:
		print("no certificate")
		quit(2)
		return
	if udp.connect_to_host(host, port) != OK:
		print("no socket")
		quit(2)
		return
	if dtls.connect_to_peer(udp, true, server_name, anchor) != OK:
		print("no handshake")
		quit(2)

func _idle(delta):
	waited += delta
	if waited > 10.0:
		print("timeout")
		quit(3)
		return false
	dtls.poll()
	var status = dtls.get_status()
	if status == PacketPeerDTLS.STATUS_CONNECTED:
		if not said:
			said = true
			print("connected")
			dtls.put_packet(text.to_utf8())
		while dtls.get_available_packet_count() > 0:
			print("echo " + dtls.get_packet().get_string_from_utf8())
			dtls.disconnect_from_peer()
			quit(0)
	elif status == PacketPeerDTLS.STATUS_ERROR_HOSTNAME_MISMATCH:
		print("wrong name")
		quit(4)
	elif status == PacketPeerDTLS.STATUS_ERROR:
		print("refused")
		quit(5)
	return false
