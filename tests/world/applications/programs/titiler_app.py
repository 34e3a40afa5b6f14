"""TiTiler with a small raster to make tiles of."""

from pathlib import Path

import numpy
import rasterio
from rasterio.transform import from_bounds
from titiler.application.main import app as app

if not Path("world.tif").exists():
    shape = (512, 512)
    with rasterio.open(
        "world.tif",
        "w",
        driver="GTiff",
        height=shape[0],
        width=shape[1],
        count=3,
        dtype="uint8",
        crs="EPSG:4326",
        transform=from_bounds(-180, -85, 180, 85, *shape),
    ) as raster:
        raster.write(numpy.arange(3 * shape[0] * shape[1], dtype="uint32").reshape(3, *shape).astype("uint8"))
