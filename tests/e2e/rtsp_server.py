"""An RTSP server for one recording: GStreamer's, run as a process of its own.

    rtsp_server.py RECORDING PORT_FILE
    rtsp_server.py --check    fails unless all that it needs is installed

Serves rtsp://127.0.0.1:PORT/call, for whoever connects from its beginning, and
writes PORT to the file once it listens. Ends with its standard input.
"""

import pathlib
import sys

import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

# As recorded, in the recording's own times.
_PIPELINE = ('( filesrc location="{}" ! matroskademux name=file '
             "file. ! queue ! rtph264pay name=pay0 pt=96 config-interval=-1 "
             "file. ! queue ! rtpopuspay name=pay1 pt=97 )")


def main(recording, port_file):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(_PIPELINE.format(recording))
    server.get_mount_points().add_factory("/call", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT,
                      GLib.IOCondition.HUP | GLib.IOCondition.IN,
                      lambda *_: loop.quit())
    pathlib.Path(port_file).write_text(str(server.get_bound_port()))
    loop.run()


def check():
    Gst.init(None)
    for element in ("matroskademux", "rtph264pay", "rtpopuspay"):
        if Gst.ElementFactory.find(element) is None:
            raise SystemExit(f"GStreamer has no {element}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
        raise SystemExit
    main(*sys.argv[1:])
