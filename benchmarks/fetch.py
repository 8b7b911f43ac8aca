"""Pull an image from the simplestreams server at a URL: `fetch.py URL`."""

import sys

from postroj.image import pull
from postroj.image.catalog.entry import Simplestreams
from tests.support.images import entry
from tests.support.streams import PRODUCT

image = entry("debian-trixie", Simplestreams(server=sys.argv[1], product=PRODUCT))
pull.pull(image, pull.Request(force=True))
