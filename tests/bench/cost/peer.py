"""Copies files from HTTP to S3 with requests and boto3, as one would write it in an afternoon."""

import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import requests
from botocore.config import Config

source, endpoint, region, bucket, at_once, *names = sys.argv[1:]
at_once = int(at_once)
s3 = boto3.client("s3", endpoint_url=endpoint, region_name=region,
                  config=Config(max_pool_connections=4 * at_once, s3={"addressing_style": "path"}))
session = requests.Session()
session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=at_once))


def copy(name):
    with session.get(f"{source}/{name}", stream=True, timeout=60) as response:
        response.raise_for_status()
        s3.upload_fileobj(response.raw, bucket, f"boto/{name}")


with ThreadPoolExecutor(at_once) as pool:
    list(pool.map(copy, names))
