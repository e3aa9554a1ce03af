# Take a seat in a maze with a connect token, and move.
#
# godot3-server --no-window --script play.gd HOST PORT SERVER_NAME CA_FILE TOKEN
# Prints "seat N", then "moved [row, col]"; exit code 0.
# Layouts: docs/protocol/packets.rst.
extends SceneTree

const JOIN = 0x01
const INPUT = 0x02
const BYE = 0x05
const WELCOME = 0x81
const STATE = 0x82
const REJECT = 0x86
const DIRECTIONS = ["up", "right", "down", "left"]

var udp = PacketPeerUDP.new()
var dtls = PacketPeerDTLS.new()
var token = ""
var number = 0
var version = 0
var pieces = {}
var welcome = null
var start = null
var waited = 0.0
var next_send = 0.0

func _init():
	var words = OS.get_cmdline_args()
	var last = words.size()
	token = words[last - 1]
	var anchor = X509Certificate.new()
	if anchor.load(words[last - 2]) != OK:
		print("no certificate")
		quit(2)
		return
	udp.connect_to_host(words[last - 5], int(words[last - 4]))
	dtls.connect_to_peer(udp, true, words[last - 3], anchor)

func _idle(delta):
	waited += delta
	# Less than a test waits, and enough where fifty game servers start beside it.
	if waited > 90.0:
		print("timeout")
		quit(3)
		return false
	dtls.poll()
	if dtls.get_status() == PacketPeerDTLS.STATUS_CONNECTED:
		while dtls.get_available_packet_count() > 0:
			hear(reader(dtls.get_packet()))
		if waited >= next_send:
			next_send = waited + 0.1
			speak()
	elif dtls.get_status() != PacketPeerDTLS.STATUS_HANDSHAKING:
		print("refused")
		quit(5)
	return false

func speak():
	if welcome == null:
		var out = head(JOIN)
		out.put_u8(1)
		out.put_u8(0)
		out.put_u32(0)
		var proof = token.to_ascii()
		out.put_u16(proof.size())
		out.put_data(proof)
		dtls.put_packet(out.data_array)
		return
	var out = head(INPUT)
	if start == null:
		# Says only what arrived; it confirms the seat.
		out.put_u32(0)
		out.put_u8(0)
	else:
		# All four ways from the start: one of them is open, and after that the
		# others are no longer where we are. Repeated until it is seen to work.
		out.put_u32(1)
		out.put_u8(4)
		for direction in DIRECTIONS:
			var action = move(direction, start)
			out.put_u32(0)
			out.put_u16(action.size())
			out.put_data(action)
	dtls.put_packet(out.data_array)

func hear(packet):
	var kind = packet.get_u8()
	packet.get_u32()
	packet.get_u32()
	if kind == WELCOME and welcome == null:
		packet.get_u32()
		var whole = gather(packet)
		if whole != null:
			welcome = unpack(whole)
			pieces = {}
			print("seat ", welcome["seat"])
			next_send = 0.0
	elif kind == STATE:
		packet.get_u32()
		var newer = packet.get_u32()
		packet.get_u32()
		packet.get_u32()
		if newer < version:
			return
		if newer > version:
			pieces = {}
			version = newer
		var whole = gather(packet)
		if whole != null:
			see(unpack(whole)["at"][welcome["seat"]])
	elif kind == REJECT:
		print("rejected ", packet.get_utf8_string(packet.get_u16()))
		quit(6)

func see(at):
	if start == null:
		start = at
		next_send = 0.0
	elif at != start:
		print("moved ", at)
		dtls.put_packet(head(BYE).data_array)
		dtls.disconnect_from_peer()
		quit(0)

func gather(packet):
	var index = packet.get_u8()
	var count = packet.get_u8()
	pieces[index] = packet.get_data(packet.get_available_bytes())[1]
	if pieces.size() < count:
		return null
	var whole = PoolByteArray()
	for each in range(count):
		whole.append_array(pieces[each])
	return reader(whole)

func head(kind):
	number += 1
	var out = StreamPeerBuffer.new()
	out.big_endian = true
	out.put_u8(kind)
	out.put_u32(number)
	out.put_u32(version)
	out.put_u32(0)
	return out

func reader(bytes):
	var stream = StreamPeerBuffer.new()
	stream.big_endian = true
	stream.data_array = bytes
	return stream

# {"type": "move", "direction": direction, "from": [row, col]} in MessagePack.
func move(direction, from):
	var out = StreamPeerBuffer.new()
	out.put_u8(0x83)
	for word in ["type", "move", "direction", direction, "from"]:
		out.put_u8(0xa0 + word.length())
		out.put_data(word.to_ascii())
	out.put_u8(0x92)
	out.put_u8(from[0])
	out.put_u8(from[1])
	return out.data_array

# As much of MessagePack as welcomes and mazes use.
func unpack(stream):
	var kind = stream.get_u8()
	if kind < 0x80:
		return kind
	if kind < 0x90:
		return unpack_map(stream, kind & 0x0f)
	if kind < 0xa0:
		return unpack_list(stream, kind & 0x0f)
	if kind < 0xc0:
		return stream.get_utf8_string(kind & 0x1f)
	match kind:
		0xc0: return null
		0xc2: return false
		0xc3: return true
		0xc4: return stream.get_data(stream.get_u8())[1]
		0xc5: return stream.get_data(stream.get_u16())[1]
		0xca: return stream.get_float()
		0xcb: return stream.get_double()
		0xcc: return stream.get_u8()
		0xcd: return stream.get_u16()
		0xce: return stream.get_u32()
		0xcf: return stream.get_u64()
		0xd9: return stream.get_utf8_string(stream.get_u8())
		0xda: return stream.get_utf8_string(stream.get_u16())
		0xdc: return unpack_list(stream, stream.get_u16())
		0xde: return unpack_map(stream, stream.get_u16())
	print("not understood: ", kind)
	quit(7)
	return null

func unpack_list(stream, count):
	var list = []
	for _each in range(count):
		list.append(unpack(stream))
	return list

func unpack_map(stream, count):
	var map = {}
	for _each in range(count):
		var key = unpack(stream)
		map[key] = unpack(stream)
	return map
